-- One row per advisory that the feed or a ruling names and that is not published, or the reverse.
{{ config(severity='error', meta={'dagster': {'ref': {'name': 'mart_advisory_current'}}}) }}

with expected_pairs as (

    select
        package_key,
        cve_id,
    from {{ ref('stg_advisories__echo') }}
    union
    select
        package_key,
        cve_id,
    from {{ ref('int_advisories__rulings') }}
    where package_key is not null

),

published_pairs as (

    select
        {{ fold_case('package_name') }} as package_key,
        cve_id,
    from {{ ref('mart_advisory_current') }}

),

differences as (

    select
        coalesce(expected_pairs.package_key, published_pairs.package_key) as package_key,
        coalesce(expected_pairs.cve_id, published_pairs.cve_id) as cve_id,
        case when published_pairs.cve_id is null then 'missing' else 'unexpected' end as fault,
    from expected_pairs
    full outer join published_pairs
        on
            expected_pairs.package_key = published_pairs.package_key
            and expected_pairs.cve_id = published_pairs.cve_id
    where expected_pairs.cve_id is null or published_pairs.cve_id is null

)

select * from differences
