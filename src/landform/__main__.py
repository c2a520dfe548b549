"""`python -m landform`: the command line where its program is not on the path."""

from landform.cli import main

if __name__ == "__main__":
    main()
