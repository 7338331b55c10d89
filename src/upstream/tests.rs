//! The whole module against scripted servers on loopback.
