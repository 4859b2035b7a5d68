"""Commands around training: chat, compare, data, rewards, configs of other tools."""
