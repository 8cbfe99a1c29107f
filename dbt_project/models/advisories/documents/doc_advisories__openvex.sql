-- One row per advisory: a statement of OpenVEX.
with statements as (

    select * from {{ ref('int_advisories__statements') }}

),

products as (

    select * from {{ ref('int_advisories__products') }}

),

openvex as (

    select
        statements.package_name,
        statements.cve_id as vulnerability_id,
        statements.page_url as vulnerability_url,
        products.products,
        statements.vex_status as status,
        statements.justification,
        case
            when statements.vex_status = 'not_affected' then statements.explanation
        end as impact_statement,
        case
            when statements.vex_status = 'affected' then statements.action
        end as action_statement,
        case
            when statements.vex_status != 'not_affected' then statements.explanation
        end as status_notes,
        statements.stated_at,
    from statements
    inner join products on statements.advisory_id = products.advisory_id

)

select * from openvex
