-- title: A site that is held out of a cohort gives nothing to its training, tuning or test.
-- severity: error
-- scope: cohort
SELECT cohort_id, site, list_sort(list(DISTINCT split)) AS splits
FROM members
GROUP BY ALL
HAVING bool_or(split = 'holdout') AND bool_or(split <> 'holdout')
