-- One row per advisory: its state in the terms of each document standard.
with current_states as (

    select * from {{ ref('int_advisories__decided') }}

),

states as (

    select * from {{ ref('document_states') }}

),

justifications as (

    select * from {{ ref('vex_justifications') }}

),

id_systems as (

    select * from {{ ref('vulnerability_ids') }}

),

rulings as (

    select
        advisory_id,
        detail as reason,
    from {{ ref('int_advisories__judged') }}
    where rank = 1 and source = 'overrides'

),

periods as (

    select
        advisory_id,
        min(effective_from) as first_stated_at,
        max(effective_from) as stated_at,
    from {{ ref('mart_advisory_state_history') }}
    group by advisory_id

),

statements as (

    select
        current_states.advisory_id,
        current_states.package_name,
        current_states.package_key,
        current_states.cve_id,
        current_states.state,
        current_states.fixed_version,
        current_states.explanation,
        current_states.reason_code,
        rulings.reason,
        states.vex_status,
        states.csaf_status,
        states.csaf_remediation,
        states.cyclonedx_state,
        states.cyclonedx_response,
        justifications.reason_code is not null as is_reason_known,
        justifications.justification,
        justifications.cyclonedx_justification,
        {{ fill_template('states.action_template', {
            'package_name': 'current_states.package_name',
            'cve_id': 'current_states.cve_id',
        }) }} as action,
        id_systems.id_system,
        replace(id_systems.page_url, '{cve_id}', current_states.cve_id) as page_url,
        current_states.record_url,
        periods.first_stated_at,
        periods.stated_at,
    from current_states
    inner join states on current_states.state = states.state
    inner join periods on current_states.advisory_id = periods.advisory_id
    left join rulings on current_states.advisory_id = rulings.advisory_id
    left join id_systems on split_part(current_states.cve_id, '-', 1) = id_systems.id_prefix
    left join justifications
        on
            current_states.state = 'not_applicable'
            and current_states.reason_code = justifications.reason_code
            and rulings.reason is not distinct from justifications.reason

)

select * from statements
