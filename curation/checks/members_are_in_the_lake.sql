-- title: Every member's series is in this snapshot; what is missing was withdrawn or curated again.
-- severity: warning
-- scope: cohort
SELECT cohort_id, study_id, series_id
FROM members ANTI JOIN series USING (series_id)
