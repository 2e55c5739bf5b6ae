-- title: Every study has its patient, every series its study, and their counts agree.
-- severity: error
-- scope: catalogue
SELECT 'study without patient' AS what, study_id AS id FROM studies ANTI JOIN patients USING (patient_id)
UNION ALL
SELECT 'series without study', series_id FROM series ANTI JOIN studies USING (study_id)
UNION ALL
SELECT 'instance without series', instance_id FROM instances ANTI JOIN series USING (series_id)
UNION ALL
SELECT 'study with other counts', study_id
FROM studies JOIN (SELECT study_id, count(*) AS n, sum(n_instances) AS m FROM series GROUP BY ALL) USING (study_id)
WHERE n <> n_series OR m <> n_instances
UNION ALL
SELECT 'patient with other counts', patient_id
FROM patients LEFT JOIN (SELECT patient_id, count(*) AS n FROM studies GROUP BY ALL) USING (patient_id)
WHERE n_studies <> coalesce(n, 0)
