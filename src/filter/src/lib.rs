//! Message authentication, signing, spam scoring, learning.
