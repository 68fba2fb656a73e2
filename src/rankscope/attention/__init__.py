"""What an attention matrix is: who sees whom, how strongly, and what must therefore be true."""
