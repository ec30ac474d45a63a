"""`vsr app`: runs on a page of the browser, and as an HTTP API, through Gradio (extra `app`)."""
