"""A store for language models: tools of the Model Context Protocol, over the library.

`arguments` says what each tool takes, `tools` what it does and gives back, and how much at most;
`serving` brings them to a client, over standard input and output or over HTTP.
It needs the extra `everlog[mcp]`, which `serving` alone imports.
"""
