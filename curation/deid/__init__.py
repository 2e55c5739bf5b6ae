"""De-identification: original bytes and text in, the same without the person out, or a refusal.

What belongs here: policy (profile + PS3.15 tables -> decisions), actions on values, pseudonyms, the header walk,
codestreams, report text, a folder without a lake. What does not: reading arrivals (source), decoding pixels (frames),
the lake.
"""
