"""Reading of source files by datasets: text files, delimited tables, paths and image formats."""
