-- One row per claim: a source that says something of an advisory, with its evidence. Where another
-- source's record makes it this claim and not its plainer twin, that record stands beside it. A new
-- signal is one more CTE here and a row of the seed decision_rules.
with universe as (

    select * from {{ ref('int_advisories__universe') }}

),

rulings as (

    select * from {{ ref('int_advisories__rulings_matched') }}

),

verdicts as (

    select * from {{ ref('int_advisories__release_verdicts') }}

),

statements as (

    select * from {{ ref('int_advisories__release_statements') }}

),

vendor_newest as (

    select * from {{ ref('int_advisories__vendor_newest') }}

),

nvd as (

    select * from {{ ref('int_advisories__nvd_merged') }}

),

kev as (

    select * from {{ ref('stg_advisories__kev') }}

),

first_seen as (

    select * from {{ ref('int_advisories__first_seen') }}

),

versions as (

    select * from {{ ref('int_advisories__versions') }}

),

claim_sources as (

    select * from {{ ref('claim_sources') }}

),

ruling_claims as (

    select
        advisory_id,
        'overrides' as source,
        'override_' || status as claim,
        case when status = 'fixed' then fixed_version end as version,
        reason as detail,
        record_id,
        source_sha256,
        source_row,
        coalesce(fixed_version = vendor_version, false) as is_repeated_by_vendor,
    from rulings

),

nvd_claims as (

    select
        universe.advisory_id,
        'nvd' as source,
        case
            when not nvd.is_rejected then 'nvd_scored'
            when universe.vendor_version is null then 'nvd_rejected'
            else 'nvd_rejected_contested'
        end as claim,
        case
            when nvd.is_rejected then nvd.duplicate_of
            else nvd.cvss_score::varchar || ' (CVSS ' || nvd.cvss_version || ')'
        end as detail,
        case when claim = 'nvd_rejected_contested' then 'echo' end as tipped_by_source,
        case when claim = 'nvd_rejected_contested' then universe.advisory_id end
            as tipped_by_record,
        nvd.cve_id as record_id,
        nvd.last_modified_at as record_modified_at,
        nvd.source_sha256,
        nvd.source_row,
    from universe
    inner join nvd on universe.cve_id = nvd.cve_id
    where nvd.is_rejected or nvd.cvss_score is not null

),

own_distro_fixes as (

    select
        universe.advisory_id,
        statements.fixed_version || ' in ' || statements.release_label as detail,
        statements.source,
        statements.record_id,
    from universe
    inner join versions on universe.vendor_version = versions.version
    inner join statements
        on
            universe.advisory_id = statements.advisory_id
            and versions.lineage = statements.lineage
            and versions.version_key < statements.version_key
    where statements.target_rank is not null
    qualify row_number() over (
        partition by universe.advisory_id
        order by
            statements.version_key,
            statements.release_label,
            statements.source,
            statements.record_id
    ) = 1

),

vendor_claims as (

    select
        universe.advisory_id,
        'echo' as source,
        case
            when universe.is_vendor_sentinel then 'vendor_sentinel'
            when own_distro_fixes.advisory_id is null then 'vendor_fixed'
            else 'vendor_fixed_below_distro'
        end as claim,
        universe.vendor_version as version,
        own_distro_fixes.detail,
        own_distro_fixes.source as tipped_by_source,
        own_distro_fixes.record_id as tipped_by_record,
        universe.advisory_id as record_id,
        universe.vendor_sha256 as source_sha256,
        universe.vendor_row as source_row,
    from universe
    left join own_distro_fixes on universe.advisory_id = own_distro_fixes.advisory_id
    where universe.is_vendor_sentinel or universe.vendor_version is not null

),

listed_claims as (

    select
        universe.advisory_id,
        'echo' as source,
        case
            when universe.id_year <= year(first_seen.first_seen) - 2 then 'vendor_listed_old'
            else 'vendor_listed'
        end as claim,
        universe.id_year::varchar as detail,
        universe.advisory_id as record_id,
        universe.vendor_sha256 as source_sha256,
        universe.vendor_row as source_row,
    from universe
    inner join first_seen on universe.advisory_id = first_seen.advisory_id
    where universe.is_listed

),

upstream_claims as (

    select
        verdicts.advisory_id,
        verdicts.source,
        claim_sources.verdict_prefix || '_' || verdicts.verdict as claim,
        verdicts.fixed_version as version,
        verdicts.release,
        verdicts.release_label,
        verdicts.releases_named as detail,
        verdicts.newest_open_rank,
        verdicts.ecosystem,
        case when verdicts.verdict = 'fixed_unproven' then 'echo' end as tipped_by_source,
        case when verdicts.verdict = 'fixed_unproven' then vendor_newest.newest_record end
            as tipped_by_record,
        verdicts.record_id,
        verdicts.record_modified_at,
        verdicts.source_sha256,
        verdicts.source_row,
    from verdicts
    inner join universe on verdicts.advisory_id = universe.advisory_id
    inner join claim_sources on verdicts.source = claim_sources.source
    left join vendor_newest on universe.package_key = vendor_newest.package_key

),

exploited_claims as (

    select
        universe.advisory_id,
        'kev' as source,
        'known_exploited' as claim,
        kev.added_date::varchar as detail,
        kev.cve_id as record_id,
        kev.added_date::timestamptz as record_modified_at,
        kev.source_sha256,
        kev.source_row,
    from universe
    inner join kev on universe.cve_id = kev.cve_id

),

all_claims as (

    select * from ruling_claims
    union all by name
    select * from nvd_claims
    union all by name
    select * from vendor_claims
    union all by name
    select * from upstream_claims
    union all by name
    select * from exploited_claims
    union all by name
    select * from listed_claims

),

linked as (

    select
        all_claims.*,
        universe.cve_id,
        universe.package_name,
        universe.package_key,
        universe.is_listed,
        universe.vendor_version,
        versions.version_key,
        claim_sources.label as source_label,
        replace(
            replace(claim_sources.record_url, '{cve_id}', universe.cve_id),
            '{record_id}', all_claims.record_id
        ) as record_url,
    from all_claims
    inner join universe on all_claims.advisory_id = universe.advisory_id
    inner join claim_sources on all_claims.source = claim_sources.source
    left join versions on all_claims.version = versions.version

)

select * from linked
