-- patients: one row per person at one site, folded from `instances`, `reports` and the folded `studies`.
-- Placeholder: {code_version}. Table: buckets(patient_id, split_bucket).
WITH seen AS (
    SELECT patient_id, site, sex, birth_year, delivery FROM instances
    UNION ALL
    SELECT patient_id, site, NULL, NULL, delivery FROM reports
),
people AS (
    SELECT patient_id,
        mode(site ORDER BY site) AS site,
        mode(sex ORDER BY sex) AS sex,
        mode(birth_year ORDER BY birth_year) AS birth_year,
        max(delivery) AS delivery
    FROM seen GROUP BY ALL
),
visits AS (
    SELECT patient_id,
        count(*)::INTEGER AS n_studies,
        min(study_date) AS first_study_date,
        max(study_date) AS last_study_date
    FROM folded_studies GROUP BY ALL
)
SELECT patient_id, site, sex, birth_year, coalesce(n_studies, 0) AS n_studies, first_study_date, last_study_date,
    NULL::UUID AS person_id, split_bucket, delivery, {code_version} AS code_version
FROM people
JOIN buckets USING (patient_id)
LEFT JOIN visits USING (patient_id)
