"""How a terminal is started on this kind of node; `base` is the contract that every runtime keeps."""
