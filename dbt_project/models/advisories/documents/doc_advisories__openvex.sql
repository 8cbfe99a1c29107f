-- One row per advisory: a statement of OpenVEX.
with statements as (

    select * from {{ ref('int_advisories__statements') }}

),

openvex as (

    select
        package_name,
        cve_id as vulnerability_id,
        page_url as vulnerability_url,
        products,
        vex_status as status,
        justification,
        case when vex_status = 'not_affected' then explanation end as impact_statement,
        case when vex_status = 'affected' then action end as action_statement,
        case when vex_status != 'not_affected' then explanation end as status_notes,
        stated_at,
    from statements

)

select * from openvex
