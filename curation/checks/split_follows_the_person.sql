-- title: All studies of a person, and all records of a linked person, have one split bucket between 0 and 999.
-- severity: error
-- scope: catalogue
SELECT patient_id AS id, list_sort(list(DISTINCT split_bucket)) AS buckets
FROM (SELECT patient_id, split_bucket FROM studies UNION SELECT patient_id, split_bucket FROM patients)
GROUP BY ALL
HAVING count(*) > 1 OR min(split_bucket) NOT BETWEEN 0 AND 999
UNION ALL
SELECT person_id, list_sort(list(DISTINCT split_bucket))
FROM patients
WHERE person_id IS NOT NULL
GROUP BY ALL
HAVING count(DISTINCT split_bucket) > 1
