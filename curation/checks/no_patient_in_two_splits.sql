-- title: No patient of a cohort is in two splits, nor a person known at several sites.
-- severity: error
-- scope: cohort
SELECT cohort_id, coalesce(person_id, patient_id) AS person, list_sort(list(DISTINCT split)) AS splits
FROM members LEFT JOIN (SELECT patient_id, person_id FROM patients) USING (patient_id)
GROUP BY ALL
HAVING count(DISTINCT split) > 1
