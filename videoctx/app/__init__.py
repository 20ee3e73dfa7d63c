"""A local page on which a trained network is tried: what a video shows, when, and where the network looks.

A Starlette server and a page of plain HTML, CSS and JavaScript. Gradio was tried: the images of its pages take clicks
of a mouse but no keys, its player cannot be moved by another component, and its scripts request fonts of another host.
"""
