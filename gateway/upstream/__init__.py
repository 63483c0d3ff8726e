"""The curl edge: carries bytes to and from Dify."""
