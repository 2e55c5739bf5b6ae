-- title: Shifted study dates lie between 1960 and today, ages between 0 and 90, birth before study.
-- severity: warning
-- scope: delivery
SELECT instance_id, study_date, age_years, birth_year
FROM instances
WHERE study_date NOT BETWEEN DATE '1960-01-01' AND current_date
   OR age_years NOT BETWEEN 0 AND 90
   OR birth_year > year(study_date)
   OR birth_year < 1860
