"""Reading other people's files: text files, delimited tables, paths and kinds of images."""
