"""A repeated request joins the running or finished answer instead of starting a second run in Dify."""
