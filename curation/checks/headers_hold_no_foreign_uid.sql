-- title: No header holds a UID from elsewhere: each is ours (root 2.25) or registered by DICOM or for coding schemes.
-- severity: error
-- scope: delivery
-- A blob as text shows bytes that are no printable ASCII as \x00. An element of type UI in Explicit VR Little Endian:
-- the letters UI, two bytes of length, the value; several UIDs stand with a backslash between (as text: \x5C).
WITH elements AS (
    SELECT instance_id, unnest(regexp_extract_all(
        header::VARCHAR, 'UI(?:\\x[0-9A-F]{2}|[ -~])\\x0[0-9A-F]([0-9.]+(?:\\x5C[0-9.]+)*)', 1)) AS element
    FROM instances
),
uids AS (SELECT instance_id, unnest(string_split(element, '\x5C')) AS uid FROM elements)
SELECT DISTINCT instance_id
FROM uids
WHERE uid LIKE '%.%.%' AND NOT regexp_matches(uid, '^(2\.25\.|1\.2\.840\.10008\.|2\.16\.840\.1\.113883\.6\.)')
