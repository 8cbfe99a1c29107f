-- One row per OSV record, package that the vendor ships and ecosystem of the distribution: whether
-- the newest versions are affected, by https://ossf.github.io/osv-schema/#evaluation.
-- A version is affected if any range holds it or if it is enumerated. The statement is `fixed` only
-- if every affected version is below the highest fix.
with osv as (

    select * from {{ ref('stg_advisories__osv') }}
    where coalesce(split_part(ecosystem, ':', 1) = 'Debian', true)

),

run as (

    select * from {{ ref('stg_advisories__run') }}

),

vendor_packages as (

    select distinct package_key
    from {{ ref('int_advisories__universe') }}

),

evaluable_rows as (

    select osv.*
    from osv
    cross join run
    semi join vendor_packages on osv.package_key = vendor_packages.package_key
    where coalesce(osv.withdrawn_at > run.as_of, true)
    -- One range that cannot be evaluated could affect any version of the package.
    qualify bool_and(osv.is_evaluable) over (partition by osv.osv_id, osv.package_key)

),

events as (

    select
        osv_id,
        package_key,
        ecosystem,
        affected_number,
        range_number,
        -- recursive makes a column of each field; an alias would make one struct of them
        unnest([  -- noqa: AL03
            struct_pack(event := 'introduced', event_order := 1, event_version := introduced),
            struct_pack(event := 'fixed', event_order := 2, event_version := fixed_version),
            struct_pack(
                event := 'last_affected', event_order := 3, event_version := last_affected
            ),
            struct_pack(event := 'limit', event_order := 4, event_version := range_limit)
        ], recursive := true),
    from evaluable_rows
    where range_number is not null

),

events_with_keys as (

    select
        *,
        -- "0" is before every version, also before those that begin with 0~.
        case
            when event = 'introduced' and event_version = '0' then '' else
                {{ deb_key('event_version') }}
        end as version_key,
    from events
    where event_version is not null

),

range_ends as (

    select
        osv_id,
        package_key,
        ecosystem,
        -- Of events at one version the end is the last one, so that the range is empty.
        max_by(
            struct_pack(kind := event, version := event_version, version_key := version_key),
            version_key || chr(0) || event_order
        ) filter (where event != 'limit') as last_event,
        coalesce(min(version_key) filter (where event = 'introduced'), '') as first_key,
        case
            when not bool_or(event = 'limit' and event_version = '*')
                then max(version_key) filter (where event = 'limit')
        end as limit_key,
    from events_with_keys
    group by osv_id, package_key, ecosystem, affected_number, range_number

),

range_ends_by_column as (

    select
        * exclude (last_event),
        coalesce(struct_extract(last_event, 'kind'), 'introduced') as last_kind,
        struct_extract(last_event, 'version') as last_version,
        struct_extract(last_event, 'version_key') as last_key,
    from range_ends

),

ranges as (

    select
        *,
        last_kind = 'fixed' and (
            {{ is_version_zero('last_version') }} or first_key >= last_key
        ) as is_never_affected,
        is_never_affected or coalesce(first_key >= limit_key, false) as is_empty,
    from range_ends_by_column

),

records_by_range as (

    select
        osv_id,
        package_key,
        ecosystem,
        bool_or(not is_empty) as has_affected_range,
        bool_or(is_never_affected) as is_never_affected,
        bool_or(not is_empty and last_kind = 'introduced' and limit_key is null) as is_open,
        max_by(last_version, last_key)
        filter (where not is_empty and last_kind = 'fixed') as fixed_version,
        max(last_key) filter (where not is_empty and last_kind = 'fixed') as fix_key,
        max(last_key)
        filter (where not is_empty and last_kind = 'last_affected') as last_affected_key,
        max(limit_key) filter (where not is_empty and last_kind = 'introduced') as limit_key,
    from ranges
    group by osv_id, package_key, ecosystem

),

enumerated_versions as (

    select
        osv_id,
        package_key,
        ecosystem,
        unnest(versions) as version,
    from evaluable_rows

),

records_by_version as (

    select
        osv_id,
        package_key,
        ecosystem,
        max({{ deb_key('version') }}) as last_affected_key,
    from enumerated_versions
    where regexp_matches(version, '^[0-9]')
    group by osv_id, package_key, ecosystem

),

records as (

    select
        osv_id,
        package_key,
        ecosystem,
        min_by(package_name, source_record) as package_name,
        min_by(vulnerability_ids, source_record) as vulnerability_ids,
        min_by(modified_at, source_record) as modified_at,
        min(source_record) as source_record,
    from evaluable_rows
    group by osv_id, package_key, ecosystem

),

statements as (

    select
        records.*,
        case
            when records_by_range.is_open then 'open'
            when
                records_by_range.fix_key <= greatest(
                    records_by_range.last_affected_key, records_by_version.last_affected_key
                )
                or records_by_range.fix_key < records_by_range.limit_key
                then 'open'
            when records_by_range.fix_key is not null then 'fixed'
            when
                records_by_range.has_affected_range
                or records_by_version.last_affected_key is not null
                then 'open'
            when records_by_range.is_never_affected then 'not_affected'
        end as statement,
        case when statement = 'fixed' then records_by_range.fixed_version end as fixed_version,
    from records
    left join records_by_range
        on
            records.osv_id = records_by_range.osv_id
            and records.package_key = records_by_range.package_key
            and records.ecosystem = records_by_range.ecosystem
    left join records_by_version
        on
            records.osv_id = records_by_version.osv_id
            and records.package_key = records_by_version.package_key
            and records.ecosystem = records_by_version.ecosystem

)

select * from statements
where statement is not null
