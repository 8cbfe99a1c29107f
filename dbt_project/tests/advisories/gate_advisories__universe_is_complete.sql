-- Every pair of the feed and of the rulings is published, and nothing else.
{{ config(severity='error', meta={'dagster': {'ref': {'name': 'mart_advisory_current'}}}) }}

with expected as (

    select
        package_key,
        cve_id,
    from {{ ref('stg_advisories__echo') }}
    union
    select
        package_key,
        cve_id,
    from {{ ref('stg_advisories__overrides') }}
    where package_key is not null

),

published as (

    select
        lower(package_name) as package_key,
        cve_id,
    from {{ ref('mart_advisory_current') }}

),

compared as (

    select
        coalesce(expected.package_key, published.package_key) as package_key,
        coalesce(expected.cve_id, published.cve_id) as cve_id,
        case when published.cve_id is null then 'missing' else 'surplus' end as fault,
    from expected
    full outer join published
        on
            expected.package_key = published.package_key
            and expected.cve_id = published.cve_id
    where expected.cve_id is null or published.cve_id is null

)

select * from compared
