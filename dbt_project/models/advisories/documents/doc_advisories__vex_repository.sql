-- One row per advisory: a statement in the OpenVEX document of its package, with the dates of that
-- document.
with statements as (

    select * from {{ ref('doc_advisories__openvex') }}

),

releases as (

    select * from {{ ref('int_advisories__releases') }}

),

vex_repository as (

    select
        statements.*,
        releases.first_released_at,
        releases.last_released_at,
        releases.updates_count,
    from statements
    inner join releases on {{ fold_case('statements.package_name') }} = releases.package_key

)

select * from vex_repository
