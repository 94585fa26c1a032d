"""`aer prepare`: raw recordings of any format to the corpus that training reads."""
