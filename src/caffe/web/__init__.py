"""The page of `caffe serve`: pictures classified, and nets looked into, in the browser.

``app`` answers requests, ``guard`` stands before it, ``worker`` owns the nets and batches what
comes in together, ``pictures`` and ``links`` take in what a stranger sends, ``inside`` draws what a
net sees. The page itself is the plain HTML, CSS and JavaScript in the folder ``page``.
"""
