"""Which terminal runs on which node, fenced by epochs."""
