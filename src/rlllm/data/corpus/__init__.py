"""Raw text: documents of files, folders and corpora, and the positions in them at which text is to be continued."""
