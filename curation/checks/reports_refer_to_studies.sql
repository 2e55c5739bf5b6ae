-- title: Every report, finding and outcome speaks of a study that is in the lake.
-- severity: warning
-- scope: catalogue
SELECT 'report' AS what, study_id FROM reports ANTI JOIN studies USING (study_id)
UNION ALL
SELECT DISTINCT 'finding', study_id FROM findings ANTI JOIN studies USING (study_id)
UNION ALL
SELECT DISTINCT 'outcome', study_id FROM outcomes ANTI JOIN studies USING (study_id) WHERE study_id IS NOT NULL
