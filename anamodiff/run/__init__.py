"""What people call: transfers into run folders, many of them, inspection, doctor, fetching."""
