import pytest

from vsr_cli.plugin.kinds import KINDS, kind_of_word

FUSION = kind_of_word("fusion")


@pytest.mark.slow
def test_every_package_passes_its_own_test_as_it_is_written(packages, new_site):
    site = new_site()
    for package in packages.values():
        site.install(package)
    done = site.run("pytest", "-q", "-p", "no:cacheprovider", *packages.values())
    assert done.returncode == 0, done.stdout
    assert f"{len(KINDS)} passed" in done.stdout
