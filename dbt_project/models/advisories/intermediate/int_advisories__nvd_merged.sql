-- One row per advisory whose CVE the NVD has: the newest record of the CVE, from the yearly files
-- or the recent changes.
with yearly_records as (

    select * from {{ ref('stg_advisories__nvd') }}

),

recent_changes as (

    select * from {{ ref('stg_advisories__nvd_modified') }}

),

universe as (

    select * from {{ ref('int_advisories__universe') }}

),

all_records as (

    select
        * exclude (source_sha256, source_row),
        false as is_recent_change,
    from yearly_records
    union all
    select
        * exclude (source_sha256, source_row),
        true as is_recent_change,
    from recent_changes

),

newest_records as (

    select
        universe.advisory_id,
        universe.package_key,
        all_records.*,
    from all_records
    inner join universe on all_records.cve_id = universe.cve_id
    -- Both files may hold the same change; the file of recent changes is published more often.
    qualify row_number() over (
        partition by universe.advisory_id
        order by
            all_records.last_modified_at desc nulls last,
            all_records.is_recent_change desc,
            all_records.source_record
    ) = 1

)

select * from newest_records
