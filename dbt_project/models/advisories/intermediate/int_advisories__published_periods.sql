-- One row per advisory and period, as last published, under the newest spelling of its package, so
-- that the history of a respelled package goes on.
with published_periods as (

    select
        * exclude (advisory_id, package_name),
        package_name as published_spelling,
    from {{ ref('stg_advisories__history') }}

),

spellings as (

    select * from {{ ref('int_advisories__spellings') }}

),

respelled_periods as (

    select
        spellings.package_name || ':' || published_periods.cve_id as advisory_id,
        spellings.package_name,
        published_periods.*,
    from published_periods
    inner join spellings on published_periods.package_key = spellings.package_key

)

select * from respelled_periods
