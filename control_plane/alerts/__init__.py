"""Tell users what happens to what is theirs: in the portal, by mail, webhook and Telegram, as they have set it."""
