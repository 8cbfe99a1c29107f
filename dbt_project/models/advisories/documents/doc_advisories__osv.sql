-- One row per vulnerability id and package; an id that never affected a package has none. The
-- record of an id that affects no package any more is withdrawn, with the packages that it affected
-- last, and not deleted, see https://ossf.github.io/osv-schema/#withdrawn-field
-- modified_at moves whenever the record changes: its rows come from the history, which also knows
-- when a package got its spelling, and its score from an NVD record that names the time of its own
-- change.
with states as (

    select * from {{ ref('document_states') }}

),

run as (

    select * from {{ ref('stg_advisories__run') }}

),

id_systems as (

    select * from {{ ref('vulnerability_ids') }}

),

record_ids as (

    select * from {{ ref('osv_ids') }}

),

claim_sources as (

    select * from {{ ref('claim_sources') }}

),

scores as (

    select
        nvd.cve_id,
        any_value(nvd.cvss_vector) as cvss_vector,
        -- A record without a vector may have lost it. A time ahead is no time of a change.
        max(nvd.last_modified_at) filter (where nvd.last_modified_at <= run.as_of) as scored_at,
    from {{ ref('int_advisories__nvd_merged') }} as nvd
    cross join run
    group by nvd.cve_id

),

periods as (

    select
        history.*,
        states.is_affected,
        states.statement_template,
    from {{ ref('mart_advisory_state_history') }} as history
    inner join states on history.state = states.state

),

records as (

    select
        cve_id,
        min(effective_from) filter (where is_affected) as published_at,
        max(greatest(effective_from, effective_to)) as changed_at,
        max(spelled_at) as respelled_at,
        case
            when not bool_or(is_affected and is_current)
                then max(effective_to) filter (where is_affected)
        end as withdrawn_at,
    from periods
    group by cve_id
    having bool_or(is_affected)

),

latest_periods as (

    select
        periods.*,
        records.published_at,
        records.withdrawn_at,
        greatest(coalesce(records.withdrawn_at, records.changed_at), records.respelled_at)
            as changed_at,
    from periods
    inner join records on periods.cve_id = records.cve_id
    where
        if(
            records.withdrawn_at is null,
            periods.is_current,
            periods.is_affected and periods.effective_to = records.withdrawn_at
        )

),

statements as (

    select
        latest_periods.*,
        {{ fill_template('latest_periods.statement_template', {
            'fixed_version': 'latest_periods.fixed_version',
        }) }} as statement,
        claim_sources.label as source_label,
        replace(id_systems.page_url, '{cve_id}', latest_periods.cve_id) as page_url,
        replace(
            replace(claim_sources.record_url, '{cve_id}', latest_periods.cve_id),
            '{record_id}', latest_periods.opened_by_record
        ) as record_url,
        record_ids.osv_id,
        case when latest_periods.withdrawn_at is null then scores.cvss_vector end as cvss_vector,
        case
            when latest_periods.withdrawn_at is null
                then greatest(latest_periods.changed_at, scores.scored_at)
            else latest_periods.changed_at
        end as modified_at,
        count(*) over of_record - 1 as others_count,
        min(latest_periods.package_name) over of_record as first_package,
    from latest_periods
    left join claim_sources on latest_periods.opened_by_source = claim_sources.source
    left join id_systems on split_part(latest_periods.cve_id, '-', 1) = id_systems.id_prefix
    left join record_ids on latest_periods.cve_id = record_ids.vulnerability_id
    left join scores on latest_periods.cve_id = scores.cve_id
    window of_record as (partition by latest_periods.cve_id)

),

osv as (

    select
        cve_id as vulnerability_id,
        package_name,
        osv_id,
        published_at,
        modified_at,
        withdrawn_at,
        cve_id || ' in ' || first_package || case
            when others_count = 1 then ' and 1 other package'
            when others_count > 1 then ' and ' || others_count || ' other packages'
            else ''
        end as summary,
        case
            when withdrawn_at is null then ''
            else 'Withdrawn: no package is affected any more, or none is listed.' || chr(10)
        end
        || string_agg(
            '- ' || package_name || ': ' || statement || ' Source: ' || source_label || '.',
            chr(10) order by package_name
        ) over (partition by cve_id) as details,
        is_affected,
        fixed_version,
        cvss_vector,
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
