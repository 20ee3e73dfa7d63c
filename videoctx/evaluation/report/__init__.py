"""The HTML page of `videoctx report`: the page, its template and script, and its sections and charts."""
