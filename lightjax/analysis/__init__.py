"""Analysis of networks: photographs that excite a channel."""
