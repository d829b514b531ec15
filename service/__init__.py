"""The BentoML service, its guard and its web page; `ferops package` puts them into a Bento."""
