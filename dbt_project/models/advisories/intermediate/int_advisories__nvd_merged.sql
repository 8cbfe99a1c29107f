-- One row per CVE of the universe: its newest record, of the yearly files or of the late changes.
with yearly as (

    select * from {{ ref('stg_advisories__nvd') }}

),

late as (

    select * from {{ ref('stg_advisories__nvd_modified') }}

),

universe as (

    select * from {{ ref('int_advisories__universe') }}

),

both_files as (

    select
        *,
        false as is_late,
    from yearly
    union all
    select
        *,
        true as is_late,
    from late

),

newest as (

    select both_files.*
    from both_files
    semi join universe on both_files.cve_id = universe.cve_id
    qualify row_number() over (
        partition by both_files.cve_id
        order by both_files.last_modified_at desc, both_files.is_late desc
    ) = 1

)

select * from newest
