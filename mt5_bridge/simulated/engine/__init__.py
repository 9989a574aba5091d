"""The broker's book and its rules, without any input or output: time, quotes and requests come in, changes come out."""
