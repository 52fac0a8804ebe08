"""Ways in: sessions, login links, tickets."""
