"""What a change of weights costs the visitors of each router, and how long it takes until it is true."""
