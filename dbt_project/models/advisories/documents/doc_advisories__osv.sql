-- One row per vulnerability id and package. The record of an id that no package has any more
-- is withdrawn and not deleted, see https://ossf.github.io/osv-schema/#withdrawn-field
-- All columns come from the history, so that modified_at moves exactly when the record changes.
with periods as (

    select
        *,
        max(greatest(effective_from, effective_to)) over of_record as modified_at,
        min(effective_from) over of_record as published_at,
        max(effective_to) over of_record as last_closed_at,
        bool_or(is_current) over of_record as has_current_package,
    from {{ ref('mart_advisory_state_history') }}
    window of_record as (partition by cve_id)

),

states as (

    select * from {{ ref('document_states') }}

),

id_systems as (

    select * from {{ ref('vulnerability_ids') }}

),

claim_sources as (

    select * from {{ ref('claim_sources') }}

),

latest_periods as (

    select
        *,
        case when not has_current_package then last_closed_at end as withdrawn_at,
    from periods
    where is_current or (not has_current_package and effective_to = last_closed_at)

),

statements as (

    select
        latest_periods.*,
        states.is_affected,
        {{ fill_template('states.statement_template', {
            'fixed_version': 'latest_periods.fixed_version',
        }) }} as statement,
        claim_sources.label as source_label,
        replace(id_systems.page_url, '{cve_id}', latest_periods.cve_id) as page_url,
        replace(
            replace(claim_sources.record_url, '{cve_id}', latest_periods.cve_id),
            '{record_id}', latest_periods.opened_by_record
        ) as record_url,
        count(*) over of_record - 1 as others_count,
        min(latest_periods.package_name) over of_record as first_package,
    from latest_periods
    inner join states on latest_periods.state = states.state
    left join claim_sources on latest_periods.opened_by_source = claim_sources.source
    left join id_systems on split_part(latest_periods.cve_id, '-', 1) = id_systems.id_prefix
    window of_record as (partition by latest_periods.cve_id)

),

osv as (

    select
        cve_id as vulnerability_id,
        package_name,
        published_at,
        modified_at,
        withdrawn_at,
        cve_id || ' in ' || first_package || case
            when others_count = 1 then ' and 1 other package'
            when others_count > 1 then ' and ' || others_count || ' other packages'
            else ''
        end as summary,
        case when withdrawn_at is null then '' else 'Withdrawn: no longer listed.' || chr(10) end
        || string_agg(
            '- ' || package_name || ': ' || statement || ' Source: ' || source_label || '.',
            chr(10) order by package_name
        ) over (partition by cve_id) as details,
        is_affected,
        fixed_version,
        struct_pack(
            state := state,
            reason_code := reason_code,
            confidence := confidence,
            source := opened_by_source,
            since := effective_from
        ) as specific,
        opened_by_source as source,
        page_url,
        record_url,
    from statements

)

select * from osv
