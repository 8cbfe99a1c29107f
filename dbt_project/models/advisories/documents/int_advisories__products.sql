-- One row per advisory: the packages that its statement names. Those are the source package, and
-- with a package index each binary package of it. A statement on a fix names versions: the first
-- fixed one, and each published one at or above it. Any other statement names packages in all
-- versions, except for a binary package that several sources build, or that has the name of another
-- source: of that it names the versions that were built from its source.
with statements as (

    select
        advisory_id,
        package_name,
        package_key,
        fixed_version,
        {{ deb_key('fixed_version') }} as fixed_version_key,
    from {{ ref('int_advisories__statements') }}

),

published as (

    select distinct
        package_key,
        source_version,
        source_version_key,
        binary_name,
        binary_key,
        binary_version,
    from {{ ref('stg_advisories__packages') }}

),

-- A version that several sources build, on other architectures, is named by no statement: one
-- package URL would be in those on each source.
ambiguous as (

    select
        binary_key,
        binary_version,
    from published
    group by binary_key, binary_version
    having count(distinct package_key) > 1

),

binaries as (

    select
        published.binary_key,
        count(distinct published.package_key) > 1
        or (
            max(published.package_key) != published.binary_key
            and published.binary_key in (select statements.package_key from statements)
        ) as is_shared,
    from published
    group by published.binary_key

),

source_products as (

    select
        statements.advisory_id,
        true as is_source,
        statements.package_name as name,
        statements.fixed_version as version,
        statements.package_key as name_key,
    from statements
    union
    select
        statements.advisory_id,
        true as is_source,
        statements.package_name as name,
        published.source_version as version,
        statements.package_key as name_key,
    from statements
    inner join published
        on
            statements.package_key = published.package_key
            and statements.fixed_version_key <= published.source_version_key

),

binary_products as (

    select distinct
        statements.advisory_id,
        false as is_source,
        published.binary_name as name,
        case
            when statements.fixed_version is not null or binaries.is_shared
                then published.binary_version
        end as version,
        published.binary_key as name_key,
    from statements
    inner join published on statements.package_key = published.package_key
    inner join binaries on published.binary_key = binaries.binary_key
    anti join ambiguous
        on
            published.binary_key = ambiguous.binary_key
            and published.binary_version = ambiguous.binary_version
    where
        statements.fixed_version is null
        or statements.fixed_version_key <= published.source_version_key

),

named as (

    select * from source_products
    union all
    select * from binary_products

),

products as (

    select
        named.advisory_id,
        named.is_source,
        named.name,
        named.version,
        -- A binary package of this name that another source builds is another product.
        case
            when named.is_source and binaries.is_shared then 'source'
        end as arch,
    from named
    left join binaries on named.name_key = binaries.binary_key
    qualify row_number() over (
        partition by named.advisory_id, named.name_key, named.version, arch
        order by named.is_source desc, named.name
    ) = 1

),

listed as (

    select
        advisory_id,
        array_agg(
            struct_pack(name := name, version := version, arch := arch)
            order by is_source desc, name, {{ deb_key('version') }}, version
        ) as products,
    from products
    group by advisory_id

)

select * from listed
