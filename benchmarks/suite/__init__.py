"""What the programs of the folder above share; nothing here is a program to start by hand."""
