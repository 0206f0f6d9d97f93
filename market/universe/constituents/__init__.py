"""Members of indexes: sources, one result class (`listed`), and the refresh.

A vendor's address, format and words are in its own file. `refresh` asks the sources in their order,
and the SQL function `index_refresh` decides what a list may change. These modules are above
`market.providers`, whose client, limits and classes they use.
"""
