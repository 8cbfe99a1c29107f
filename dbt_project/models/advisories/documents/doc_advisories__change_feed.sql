-- One row per advisory and publication that changed it; those of old publications are one snapshot.
with periods as (

    select
        {{ fold_case('package_name') }} as package_name,
        cve_id,
        state,
        fixed_version,
        confidence,
        reason_code,
        effective_from,
        effective_to,
        is_current,
    from {{ ref('mart_advisory_state_history') }}

),

changes as (

    {{ change_feed(
        history='periods',
        key=['package_name', 'cve_id'],
        columns=['state', 'fixed_version', 'confidence', 'reason_code'],
        pages=var('change_feed_pages', 60) | int,
    ) }}

)

select * from changes
