"""Galleries: pictures of whole layers in a folder, with a page that shows them."""
