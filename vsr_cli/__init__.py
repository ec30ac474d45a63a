"""Visual story reasoning: four (image, text) pairs in, the fifth out.

    import vsr_cli as vsr

    model = vsr.load("runs/run-1")
    frame = model.predict("my_stories/the-lost-kite/")
    frame.text, frame.image, frame.storyboard()

Importing this package imports neither torch nor any other library: what is used is imported at its first use.
"""

__version__ = "0.2.0.dev0"
TYPE_CHECKING = False  # that of `typing` takes time to import; type checkers take any of this name for true
if TYPE_CHECKING:
    from .errors import PluginError, VsrError
    from .python.continuation import ContinuedStory
    from .python.frames import PredictedFrame
    from .python.model import Model, load
    from .python.results import EvaluationResult
    from .python.workflows import PreparedData, evaluate, example_stories, prepare, resume, train

__all__ = [
    "ContinuedStory",
    "EvaluationResult",
    "Model",
    "PluginError",
    "PredictedFrame",
    "PreparedData",
    "VsrError",
    "__version__",
    "evaluate",
    "example_stories",
    "load",
    "prepare",
    "resume",
    "train",
]
_MODULES = {
    "ContinuedStory": "python.continuation",
    "EvaluationResult": "python.results",
    "Model": "python.model",
    "PluginError": "errors",
    "PredictedFrame": "python.frames",
    "PreparedData": "python.workflows",
    "VsrError": "errors",
    "evaluate": "python.workflows",
    "example_stories": "python.workflows",
    "load": "python.model",
    "prepare": "python.workflows",
    "resume": "python.workflows",
    "train": "python.workflows",
}
"""Where each public name is defined."""


def __getattr__(name: str) -> object:
    """Import a public name at its first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module 'vsr_cli' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"vsr_cli.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
